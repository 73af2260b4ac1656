"""Models of texts and images with random weights, small enough to be made in a moment."""

from pathlib import Path
from typing import Any

VERBS = ["sat", "is", "was"]
WORDS = [*VERBS, "a", "the", "cat", "dog", "on", "mat", "good", "bad", "film", ".", ",", "!"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["the cat sat", "good film", "a bad dog , was it !"]
SIZE = 16


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def bert(kind: str, **settings: Any) -> Any:
    """A model of the class of this name, in evaluation mode."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=SIZE,
        max_position_embeddings=32,
        initializer_range=1.0,
        **settings,
    )
    return getattr(transformers, kind)(config).eval()


def gpt2() -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        n_embd=SIZE,
        n_layer=2,
        n_head=2,
        n_positions=64,
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=1.0,
    )
    return GPT2LMHeadModel(config).eval()


def vit() -> Any:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=SIZE,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=SIZE,
        image_size=SIZE,
        patch_size=8,
        num_labels=3,
        initializer_range=1.0,
    )
    return ViTForImageClassification(config).eval()


def sentences(directory: Path) -> Any:
    """A SentenceTransformer. Its parts are read from the directory, where they are written."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bert("BertModel").save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    parts = [Transformer(str(directory)), Pooling(SIZE)]
    return SentenceTransformer(modules=parts, device="cpu", prompts={"question": "the cat "})
