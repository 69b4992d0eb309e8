"""Writes a tiny model and LoRA adapters of it with PEFT, and the logits that PEFT computes.

Needs the packages torch, transformers and peft. test/fixtures/adapters gets

    base/        the model, in Hugging Face's layout
    lora/        all linear layers; ranks and alphas of single modules
    rslora/      rsLoRA of one kind of layer in one layer, in adapter_model.bin
    embedding/   LoRA of the token and position embeddings, which the tied head does not follow
    head/        LoRA of the head alone; trained biases, and a copy of the last norm
    tokens/      three more tokens: the embedding and the head are saved whole
    copies/      trained copies of the embedding and of a feed-forward network; the head is not tied any more
    whole/       the state dict of a PEFT model, with the name of its adapter and modules in copies
    dora/        another method, which is rejected
    logits.json  for each adapter the logits after TOKENS, in double precision, by the unmerged model;
                 "both" is lora/ times 0.5 and rslora/ times -1.5
"""

import json
import pathlib
import shutil

import peft
import torch
import transformers

TARGET = pathlib.Path(__file__).resolve().parents[2] / "test" / "fixtures" / "adapters"
TOKENS = [3, 12, 0, 7]
VOCABULARY = 13


def base_model() -> transformers.GPT2LMHeadModel:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=6, n_embd=8, n_head=2, n_layer=2,
        bos_token_id=None, eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config)
    randomize(model)
    return model.eval()


def randomize(model: torch.nn.Module) -> None:
    """Draws all parameters, so that no factor of an initialisation hides an error."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)


def clean(folder: pathlib.Path) -> None:
    """Removes what differs between machines."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = "base"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def logits_of(model: torch.nn.Module) -> list[float]:
    with torch.no_grad():
        return model.eval().double()(torch.tensor([TOKENS])).logits[0, -1].tolist()


def save(
    name: str, config: peft.PeftConfig, resize: int | None = None, **options: object
) -> list[float]:
    """Saves an adapter with random weights and returns the logits of its model."""
    base = transformers.GPT2LMHeadModel.from_pretrained(TARGET / "base")
    if resize is not None:
        base.resize_token_embeddings(resize, mean_resizing=False)
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape) * 0.4)
        if resize is not None:
            embedding = base.get_input_embeddings().weight
            embedding.copy_(torch.randn(embedding.shape) * 0.4)
    model.save_pretrained(TARGET / name, **options)
    clean(TARGET / name)
    return logits_of(model)


def lora(**options: object) -> peft.LoraConfig:
    settings = {"r": 2, "lora_alpha": 6, "task_type": "CAUSAL_LM", **options}
    return peft.LoraConfig(**settings)


def main() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    torch.manual_seed(14)
    base = base_model()
    base.save_pretrained(TARGET / "base")
    (TARGET / "base" / "generation_config.json").unlink(missing_ok=True)
    linear = ["c_attn", "c_proj", "c_fc"]
    logits = {"base": logits_of(base)}
    logits["lora"] = save("lora", lora(
        target_modules=linear, fan_in_fan_out=True,
        rank_pattern={"h.1.mlp.c_fc": 3},
        alpha_pattern={"h.1.mlp.c_fc": 5, "^transformer.h.0.attn.c_proj": 1},
    ))
    logits["rslora"] = save("rslora", lora(
        target_modules=["c_attn"], layers_to_transform=[1], use_rslora=True, fan_in_fan_out=True,
    ), safe_serialization=False)
    logits["embedding"] = save("embedding", lora(target_modules=["wte", "wpe"]))
    logits["head"] = save("head", lora(
        target_modules=["lm_head"], bias="all", modules_to_save=["ln_f"],
    ))
    logits["tokens"] = save(
        "tokens", lora(target_modules=["c_attn"], fan_in_fan_out=True),
        resize=VOCABULARY + 3, save_embedding_layers=True,
    )
    logits["copies"] = save("copies", lora(
        target_modules=["c_attn"], fan_in_fan_out=True, modules_to_save=["wte", "mlp"],
    ))

    whole = peft.get_peft_model(
        transformers.GPT2LMHeadModel.from_pretrained(TARGET / "base"),
        lora(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, modules_to_save=["ln_f"]),
        adapter_name="style",
    )
    randomize(whole)
    whole.save_pretrained(TARGET / "whole")
    own = TARGET / "whole" / "style"  # save_pretrained() makes a folder of the adapter's name
    shutil.move(own / "adapter_config.json", TARGET / "whole" / "adapter_config.json")
    shutil.rmtree(own)
    clean(TARGET / "whole")
    torch.save(whole.state_dict(), TARGET / "whole" / "pytorch_model.bin")
    shutil.copy(TARGET / "base" / "config.json", TARGET / "whole" / "config.json")
    logits["whole"] = logits_of(whole)

    both = peft.PeftModel.from_pretrained(
        transformers.GPT2LMHeadModel.from_pretrained(TARGET / "base"),
        TARGET / "lora",
        adapter_name="lora",
    )
    both.load_adapter(TARGET / "rslora", adapter_name="rslora")
    both.base_model.set_adapter(["lora", "rslora"])
    for module in both.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.set_scale("lora", 0.5)
            if "rslora" in module.scaling:
                module.set_scale("rslora", -1.5)
    logits["both"] = logits_of(both)

    save("dora", lora(target_modules=["c_attn"], fan_in_fan_out=True, use_dora=True))
    (TARGET / "logits.json").write_text(json.dumps({"tokens": TOKENS, "logits": logits}) + "\n")


if __name__ == "__main__":
    main()
