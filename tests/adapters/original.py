"""Weights laid out as their makers publish them in one file, from diffusers' own layout."""

import re

import torch


def original_sd3(state, blocks, prefix="model.diffusion_model."):
    """A transformer of Stable Diffusion 3 as Stability publishes it: joined queries, keys and values, shift before scale."""
    names = {
        "pos_embed.pos_embed": "pos_embed",
        "pos_embed.proj": "x_embedder.proj",
        "time_text_embed.timestep_embedder.linear_": "t_embedder.mlp.",
        "time_text_embed.text_embedder.linear_": "y_embedder.mlp.",
        "transformer_blocks": "joint_blocks",
        "attn.to_out.0": "x_block.attn.proj",
        "attn2.to_out.0": "x_block.attn2.proj",
        "attn.to_add_out": "context_block.attn.proj",
        "attn.norm_q": "x_block.attn.ln_q",
        "attn.norm_k": "x_block.attn.ln_k",
        "attn2.norm_q": "x_block.attn2.ln_q",
        "attn2.norm_k": "x_block.attn2.ln_k",
        "attn.norm_added_q": "context_block.attn.ln_q",
        "attn.norm_added_k": "context_block.attn.ln_k",
        "norm1.linear": "x_block.adaLN_modulation.1",
        "norm1_context.linear": "context_block.adaLN_modulation.1",
        "ff.net.0.proj": "x_block.mlp.fc1",
        "ff.net.2": "x_block.mlp.fc2",
        "ff_context.net.0.proj": "context_block.mlp.fc1",
        "ff_context.net.2": "context_block.mlp.fc2",
        "proj_out": "final_layer.linear",
        "norm_out.linear": "final_layer.adaLN_modulation.1",
    }
    state, found = dict(state), {}
    for kind in ("weight", "bias"):
        for block in range(blocks):
            at = f"transformer_blocks.{block}"
            for attention, place in (("attn.to_{}", "x_block.attn"), ("attn2.to_{}", "x_block.attn2")):
                parts = [state.pop(f"{at}.{attention.format(one)}.{kind}", None) for one in "qkv"]
                if parts[0] is not None:
                    found[f"joint_blocks.{block}.{place}.qkv.{kind}"] = torch.cat(parts)
            parts = [state.pop(f"{at}.attn.add_{one}_proj.{kind}") for one in "qkv"]
            found[f"joint_blocks.{block}.context_block.attn.qkv.{kind}"] = torch.cat(parts)
        for last in ("norm_out.linear", f"transformer_blocks.{blocks - 1}.norm1_context.linear"):
            state[f"{last}.{kind}"] = torch.cat(state[f"{last}.{kind}"].chunk(2)[::-1])
    for name, value in state.items():
        new = name
        for ours, theirs in sorted(names.items(), key=lambda pair: -len(pair[0])):
            pattern = rf"(^|\.){re.escape(ours)}(?=\.|$|(?<=_)\d)"
            new = re.sub(pattern, rf"\g<1>{theirs}", new, count=1)
        new = re.sub(r"_embedder\.mlp\.([12])", lambda match: f"_embedder.mlp.{2 * int(match[1]) - 2}", new)
        found[new] = value
    return {prefix + name: value.contiguous() for name, value in found.items()}


def original_autoencoder(state, blocks, prefix="first_stage_model."):
    """An autoencoder as CompVis published it: attention by convolutions, up blocks counted from below."""
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
    found = {}
    for name, value in state.items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", new)
        new = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", new)
        new = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(r"up_blocks\.(\d)\.resnets", lambda match: f"up.{blocks - 1 - int(match[1])}.block", new)
        new = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda match: f"up.{blocks - 1 - int(match[1])}.upsample", new)
        if "mid_block.attentions.0" in new:
            new = new.replace("mid_block.attentions.0", "mid.attn_1")
            for ours, theirs in attention.items():
                new = new.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
            value = value[..., None, None] if value.ndim == 2 else value  # noqa: PLW2901
        found[prefix + new] = value.contiguous()
    return found
