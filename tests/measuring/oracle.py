"""The published evaluator of PIE-Bench and the strict means, written anew on plain torch from their description.

Nothing here is shared with the plug-in but the files of the networks. Of transformers only the tokenizer's rule is used, spelled
out for the tiny vocabulary.
"""

import json
import math

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    gelu,
    interpolate,
    layer_norm,
    linear,
    max_pool2d,
    pad,
    scaled_dot_product_attention,
)


def chw(picture):
    return torch.from_numpy(np.asarray(picture).astype(np.float32)).permute(2, 0, 1)[None]


class Transformer:
    """Blocks of a ViT or of CLIP, from the names in its file."""

    def __init__(self, state, heads):
        self.state, self.heads = state, heads

    def affine(self, name, x):
        return linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def norm(self, name, x, epsilon):
        return layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], epsilon)

    def attend(self, names, x, causal=False):
        q, k, v = (self.affine(name, x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in names[:3])
        mixed = scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.affine(names[3], mixed.transpose(1, 2).flatten(2))


def find(state, *endings):
    """The full name of a parameter's module that ends so, whatever the library calls what is around it."""
    names = {name.rpartition(".")[0] for name in state}
    return next(name for ending in endings for name in sorted(names) if name.endswith(ending))


class PlainDino(Transformer):
    def __init__(self, folder):
        settings = json.loads((folder / "config.json").read_text())
        super().__init__(load_file(folder / "model.safetensors"), settings["num_attention_heads"])
        self.depth, self.patch = settings["num_hidden_layers"], settings["patch_size"]

    def block(self, number):
        names = {name.rpartition(".")[0] for name in self.state}
        inside = [name for name in names if f".{number}." in f".{name}."]
        pick = lambda *endings: next(n for e in endings for n in inside if n.endswith(e))  # noqa: E731
        return {
            "before": pick("layernorm_before"),
            "after": pick("layernorm_after"),
            "q": pick("attention.q_proj", "attention.query"),
            "k": pick("attention.k_proj", "attention.key"),
            "v": pick("attention.v_proj", "attention.value"),
            "o": pick("attention.o_proj", "attention.output.dense"),
            "up": pick("fc1", "intermediate.dense"),
            "down": pick("fc2", f"{number}.output.dense"),
        }

    def keys(self, pixels):
        weight = self.state[find(self.state, "projection") + ".weight"]
        bias = self.state[find(self.state, "projection") + ".bias"]
        x = conv2d(pixels, weight, bias, stride=self.patch).flatten(2).transpose(1, 2)
        place = {name.rpartition(".")[2]: value for name, value in self.state.items()}
        x = torch.cat([place["cls_token"], x], dim=1) + place["position_embeddings"]
        for number in range(self.depth):
            names = self.block(number)
            normed = self.norm(names["before"], x, 1e-12)
            if number == self.depth - 1:
                return self.affine(names["k"], normed)[0]
            x = x + self.attend([names[part] for part in "qkvo"], normed)
            x = x + self.affine(names["down"], gelu(self.affine(names["up"], self.norm(names["after"], x, 1e-12))))
        raise AssertionError

    def structure_distance(self, source, edit, white, antialias):
        maps = []
        for picture in (source, edit):
            pixels = interpolate(chw(picture) * (white / 255), (224, 224), mode="bilinear", antialias=antialias)
            mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
            deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            keys = self.keys((pixels - mean) / deviation)
            maps.append(torch.nn.functional.cosine_similarity(keys[:, None], keys[None], dim=-1))
        return float(((maps[0] - maps[1]) ** 2).mean())


class PlainClip(Transformer):
    def __init__(self, folder):
        settings = json.loads((folder / "config.json").read_text())
        super().__init__(load_file(folder / "model.safetensors"), settings["text_config"]["num_attention_heads"])
        self.words = json.loads((folder / "vocab.json").read_text())
        self.longest = settings["text_config"]["max_position_embeddings"]
        self.side = settings["vision_config"]["image_size"]
        self.patch = settings["vision_config"]["patch_size"]

    def blocks(self, tower, x, causal):
        number = 0
        while f"{tower}.encoder.layers.{number}.layer_norm1.weight" in self.state:
            at = f"{tower}.encoder.layers.{number}"
            names = [f"{at}.self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
            x = x + self.attend(names, self.norm(f"{at}.layer_norm1", x, 1e-5), causal)
            up = self.affine(f"{at}.mlp.fc1", self.norm(f"{at}.layer_norm2", x, 1e-5))
            x = x + self.affine(f"{at}.mlp.fc2", up * torch.sigmoid(1.702 * up))
            number += 1
        return x

    def tokens(self, text, keep_end):
        start, end = self.words["<|startoftext|>"], self.words["<|endoftext|>"]
        found = [start]
        for word in text.split():
            found += [self.words[letter] for letter in word[:-1]] + [self.words[f"{word[-1]}</w>"]]
        found.append(end)
        if len(found) > self.longest:
            found = [*found[: self.longest - 1], end] if keep_end else found[: self.longest]
        return found

    def text(self, text, keep_end):
        numbers = torch.tensor([self.tokens(text, keep_end)])
        at = "text_model.embeddings"
        x = self.state[f"{at}.token_embedding.weight"][numbers]
        x = x + self.state[f"{at}.position_embedding.weight"][: numbers.shape[1]]
        x = self.norm("text_model.final_layer_norm", self.blocks("text_model", x, True), 1e-5)
        return self.affine("text_projection", x[0, int(numbers[0].argmax())])

    def picture(self, picture):
        small = picture.resize(self.resized(picture.size), Image.Resampling.BICUBIC)
        left, top = (small.size[0] - self.side) // 2, (small.size[1] - self.side) // 2
        small = small.crop((left, top, left + self.side, top + self.side))
        mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        pixels = (chw(small) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
        at = "vision_model.embeddings"
        patches = conv2d(pixels, self.state[f"{at}.patch_embedding.weight"], stride=self.patch).flatten(2)
        x = torch.cat([self.state[f"{at}.class_embedding"][None, None], patches.transpose(1, 2)], dim=1)
        x = self.norm("vision_model.pre_layrnorm", x + self.state[f"{at}.position_embedding.weight"], 1e-5)
        x = self.blocks("vision_model", x, False)[:, 0]
        return self.affine("visual_projection", self.norm("vision_model.post_layernorm", x, 1e-5))[0]

    def resized(self, size):
        short = min(size)
        return tuple(self.side if side == short else int(self.side * side / short) for side in size)

    def score(self, picture, text, keep_end=True):
        cosine = torch.nn.functional.cosine_similarity(self.picture(picture), self.text(text, keep_end), dim=0)
        return 100 * float(cosine)


class PlainLpips:
    """SqueezeNet 1.1, layer by layer."""

    def __init__(self, file, weights):
        self.state, self.weights = (torch.load(each, map_location="cpu") for each in (file, weights))

    def fire(self, number, x):
        part = lambda name: [self.state[f"features.{number}.{name}.{kind}"] for kind in ("weight", "bias")]  # noqa: E731
        x = conv2d(x, *part("squeeze")).relu()
        return torch.cat([conv2d(x, *part("expand1x1")).relu(), conv2d(x, *part("expand3x3"), padding=1).relu()], 1)

    def layers(self, x):
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = (x - shift[:, None, None]) / scale[:, None, None]
        x = conv2d(x, self.state["features.0.weight"], self.state["features.0.bias"], stride=2).relu()
        yield x
        for pool in ((3, 4), (6, 7), (9,)):
            x = max_pool2d(x, 3, 2, ceil_mode=True)
            for number in pool:
                x = self.fire(number, x)
            yield x
        for number in (10, 11, 12):
            x = self.fire(number, x)
            yield x

    def maps(self, first, second):
        for number, (a, b) in enumerate(zip(self.layers(first), self.layers(second), strict=True)):
            a, b = (x / torch.sqrt((x**2).sum(1, keepdim=True) + 1e-8) for x in (a, b))  # noqa: PLW2901
            weight = self.weights[f"lin{number}.model.1.weight"]
            yield ((a - b) ** 2 * weight.view(1, -1, 1, 1)).sum(1, keepdim=True)

    def mean(self, first, second):
        return float(sum(each.mean() for each in self.maps(first, second)))

    def at_each_pixel(self, first, second):
        maps = self.maps(first, second)
        return sum(interpolate(each, first.shape[2:], mode="bilinear", align_corners=False) for each in maps)[0, 0]


def padded(x):
    return pad(x, (5, 5, 5, 5), mode="reflect")


def ssim_map(first, second):
    """Of tensors [1, 3, H, W] in [0, 1]: an 11×11 Gaussian, σ 1.5, only where the whole window fits."""
    line = torch.exp(-((torch.arange(11.0, dtype=torch.float64) - 5) ** 2) / 4.5)
    window = torch.outer(line, line)
    kernel = (window / window.sum()).expand(3, 1, 11, 11)
    first, second = first.double(), second.double()
    blur = lambda x: conv2d(x, kernel, groups=3)  # noqa: E731
    a, b = blur(first), blur(second)
    aa, bb, ab = blur(first**2) - a**2, blur(second**2) - b**2, blur(first * second) - a * b
    return ((2 * a * b + 1e-4) * (2 * ab + 9e-4)) / ((a**2 + b**2 + 1e-4) * (aa + bb + 9e-4))


class Evaluator:
    def __init__(self, clip, dino, squeezenet, weights):
        self.clip, self.dino, self.lpips = PlainClip(clip), PlainDino(dino), PlainLpips(squeezenet, weights)

    def published(self, measured, mask, antialias=False, border=False):
        """With the picture zero in the edited region, and all its pixels in the means."""
        source, edit = measured.source, measured.edit
        kept = torch.from_numpy(1 - mask.astype(np.float32))
        a, b = (chw(picture) / 255 * kept for picture in (source, edit))
        error = float(((a - b).double() ** 2).mean())
        inside = Image.fromarray(np.uint8(np.asarray(edit) * mask[..., None]))
        texts = measured.item.source_prompt, measured.item.prompt.replace("[", "").replace("]", "")
        return {
            "structure_distance": self.dino.structure_distance(source, edit, 255, antialias),
            "psnr_unedit_part": -10 * math.log10(error),
            "lpips_unedit_part": self.lpips.mean(2 * a - 1, 2 * b - 1),
            "mse_unedit_part": error,
            "ssim_unedit_part": float(ssim_map(*(padded(x) if border else x for x in (a, b))).mean()),
            "clip_similarity_source_image": max(0, self.clip.score(source, texts[0], False)),
            "clip_similarity_target_image": max(0, self.clip.score(edit, texts[1], False)),
            "clip_similarity_target_image_edit_part": max(0, self.clip.score(inside, texts[1], False)),
        }

    def strict(self, measured, mask):
        """With means over background pixels alone."""
        source, edit = measured.source, measured.edit
        outside = torch.from_numpy(~mask)
        a, b = (chw(picture) / 255 for picture in (source, edit))
        error = float(((a - b).double() ** 2).mean(1)[0][outside].mean())
        joined = torch.where(outside, b, a)
        clean = avg_pool2d(outside.double()[None, None], 11, 1)[0, 0] > 1 - 1e-9
        inside = Image.fromarray(np.uint8(np.asarray(edit) * mask[..., None]))
        texts = measured.item.source_prompt, measured.item.prompt.replace("[", "").replace("]", "")
        return {
            "structure_distance": self.dino.structure_distance(source, edit, 1, True),
            "psnr_unedit_part": -10 * math.log10(error),
            "lpips_unedit_part": float(self.lpips.at_each_pixel(2 * a - 1, 2 * joined - 1)[outside].mean()),
            "mse_unedit_part": error,
            "ssim_unedit_part": float(ssim_map(a, b).mean(1)[0][clean].mean()),
            "clip_similarity_source_image": self.clip.score(source, texts[0]),
            "clip_similarity_target_image": self.clip.score(edit, texts[1]),
            "clip_similarity_target_image_edit_part": self.clip.score(inside, texts[1]),
        }
