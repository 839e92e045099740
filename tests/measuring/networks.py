"""Tiny networks with random weights, in the formats in which the released ones are published."""

import json

import torch
from headrouter_metrics.networks.features import features

MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def clip(folder, longest=20, seed=7):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", *letters, *(f"{letter}</w>" for letter in letters), "<|endoftext|>"]
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    configuration = CLIPConfig(
        text_config={
            **common,
            "vocab_size": len(words),
            "max_position_embeddings": longest,
            "bos_token_id": 0,
            "eos_token_id": 2,  # as the released models have it: the token with the highest number counts
        },
        vision_config={**common, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    CLIPModel(configuration).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    put(
        folder / "tokenizer_config.json",
        tokenizer_class="CLIPTokenizer",
        model_max_length=longest,
        unk_token="<|endoftext|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    put(
        folder / "preprocessor_config.json",
        feature_extractor_type="CLIPFeatureExtractor",
        image_mean=MEAN,
        image_std=DEVIATION,
        size=32,
        crop_size=32,
        resample=3,
        **dict.fromkeys(("do_resize", "do_center_crop", "do_normalize"), True),
    )
    return folder


def dino(folder, layers=3, seed=1):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(seed)
    common = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": layers, "num_attention_heads": 3}
    ViTModel(ViTConfig(**common, image_size=224, patch_size=16), add_pooling_layer=False).save_pretrained(folder)
    put(
        folder / "preprocessor_config.json",
        feature_extractor_type="ViTFeatureExtractor",
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        size=224,
        resample=3,
        do_resize=True,
        do_normalize=True,
    )
    return folder


def dinov2(folder):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(2)
    Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=56, patch_size=14)
    ).save_pretrained(folder)
    put(
        folder / "preprocessor_config.json",
        image_processor_type="BitImageProcessor",
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        size={"shortest_edge": 64},
        crop_size={"height": 56, "width": 56},
        resample=3,
        do_convert_rgb=True,
        **dict.fromkeys(("do_resize", "do_center_crop", "do_normalize", "do_rescale"), True),
    )
    return folder


FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}


def convolutions(folder, net="squeeze"):
    torch.manual_seed(3)
    state = {f"features.{name}": value for name, value in features(net).state_dict().items()}
    folder.mkdir(exist_ok=True)
    torch.save({**state, "classifier.1.weight": torch.zeros(2)}, folder / FILES[net])
    return folder


def put(path, **values):
    path.write_text(json.dumps(values))
