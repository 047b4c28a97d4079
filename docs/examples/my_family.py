import emotion_circuits as ec

ec.register_family(
    ec.Family(
        name="olmo2",
        model_types=("olmo2",),  # config.model_type of its models
        attention_post_norm="post_attention_layernorm",
        mid_norm="mlp",  # no norm stands before the MLP, which reads the stream itself
        mlp_post_norm="post_feedforward_layernorm",
    )
)

if __name__ == "__main__":  # try it on a tiny model with random weights
    from transformers import AutoModelForCausalLM, AutoTokenizer, Olmo2Config

    tokenizer = AutoTokenizer.from_pretrained(ec.models.get("reference/gpt2"))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Olmo2Config(vocab_size=len(tokenizer), **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained("tiny-olmo2")
    tokenizer.save_pretrained("tiny-olmo2")
    lm = ec.load("tiny-olmo2")
    assert all(check.ok for check in ec.verify(lm).checks)
