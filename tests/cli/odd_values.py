"""Values that are hard to get right, for `bad_inputs`."""

# fmt: off

MODEL, VECTORS, ACTIVATIONS = "@model", "@vectors", "@activations"
"""Stand in command lines for whole files: see `bad_inputs.Workshop`."""

ODD_TEXTS = (
    "Thank you.", "", " ", "\n", "a\0b", "\u2028", "\x1b[31mred\x07", "\x9b2J", "é", "e\u0301", "雨が降る", "👍🏽",
    "\ufeffx", "\u202eabc", "\U0010ffff", "\ufffe", "word " * 700, "x" * 5000, "'\"`", "<|endoftext|>", "\\ud800",
    "\u200b", "\x7f",
)

ODD_LINES = (
    '{"text": "fine", "id": 1}', '{"text": "fine", "scores": 3}', '{"text": "fine", "layer": 1, "truncated": true}',
    '{"text": "\\ud800"}', '{"text": "a", "x\\udc00": 1}', '{"text": "a", "text": "b"}', '{"text": "a", "n": NaN}',
    '{"text": "a", "n": -Infinity}', '{"text": "a", "n": 1e999}', '{"text": "a", "n": ' + "9" * 5000 + "}",
    '{"text": "a", "n": ' + "9" * 400 + "}", "[" * 100_000, '{"a":' * 5000,
    '{"text": "a", "n": ' + "[" * 500 + "]" * 500 + "}", '{"text": 3}', '{"text": null}', '{"text": ["a"]}',
    '{"txt": "a"}', "[]", "null", "3", '"a"', "{}", "{", '{"text": "a"', '{"text": "a"} x', "{'text': 'a'}",
    '{"text": "a",}', "\t", "\x00", "\ufeff", "text", "text,id", 'a,"b', "a;b", "#",
    '{"text": "a", "emotion": "anger", "scenario": 1}', '{"text": "a", "emotion": "joy"}',
    '{"text": "a", "emotion": []}', '{"text": "a", "emotion": "neutral", "span": [0, 9]}',
    '{"text": "ab", "emotion": "anger", "span": [0, 1]}',
    '{"text": "a", "emotion": "neutral", "split": "test", "scenario": "s"}',
    '{"text": "a", "emotion": "anger", "scenario": ' + "7" * 4000 + "}", '{"prompt": "p", "text": "t"}',
    '{"prompt": "p", "text": "", "arm": "clean"}', '{"prompt": "p", "text": "t", "arm": "random x"}',
    '{"prompt": "p", "text": "t", "arm": "steered", "emotion": "anger", "dose": 1e308, "layer": ' + "9" * 30 + "}",
    '{"prompt": "p", "text": "t", "arm": "steered", "dose": -0.0, "sample": ' + "9" * 30 + ', "perplexity": -1}',
    '{"prompt": "p", "text": "t", "arm": "\\u001b", "perplexity": 1e308}', '{"prompts": ["a", "b"]}',
    '{"prompts": [1]}', '["a", "b"]', '["a", null]', '{"prompts": ["a"], "scenarios": [1, 2]}',
)

SUFFIXES = (
    ".jsonl", ".JSONL", ".ndjson", ".csv", ".tsv", ".CSV", ".txt", ".json", "", ".xlsx", ".pkl", ".parquet",
)

ENCODINGS = (
    "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp932", "utf-7",
)

TEXT_COMMANDS = (
    ["score", "--vectors", VECTORS, "--input", "FILE"],
    ["score", "--vectors", VECTORS, "--input", "FILE", "--output", "kept.jsonl"],
    ["score", "--vectors", VECTORS, "--input", "FILE", "--json", "--truncate", "--prefix", "ec_"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--max-tokens", "2", "--input", "FILE"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--max-tokens", "2", "--input", "FILE", "--output", "x"],
    ["evaluate", "--scorers", "markers", "--input", "FILE", "--json"],
    ["evaluate", "--scorers", "vader", "--input", "FILE", "--output", "e.parquet"],
    ["evaluate", "--scorers", "markers", "--model", MODEL, "--input", "FILE"],
    ["prompts", "build", "--prompts-dir", "FILE", "--data-dir", "data"],
    ["prompts", "validate", "FILE", "--permutations", "0"],
    ["extract", "--model", MODEL, "--output", "acts", "--dataset", "FILE"],
    ["sweep", "--vectors", VECTORS, "--layers", "1", "--dose", ".1", "--controls", "0", "--prompts", "FILE"],
    ["heads", "ablate", "--model", MODEL, "--head-spec", "1:1", "--prompts-file", "FILE"],
)

VALUES = (
    "-5", "-1", "0", "1", "2", "3", "99", "1e3", "nan", "inf", "-inf", "1e400", "", " ", "０", "½", "1_000", "0x10",
    "+3", "9" * 5000, ".", "..", "~", "/", "-", "--", "true", "anger", "gratitude", "joy", "mean", "embed", "specific",
    "test", "auto", "cuda:0", "cuda", "mps", "meta", "float16", "bfloat16", "baseline", "no/such", "./no", "x@y",
    "x?init=random", "reference/gpt2?init=random&seed=-1", "reference/gpt2@main", "reference/nope", "a b", "\x1b[31m",
    "\u2028", "\udcff", "é" * 300, "x" * 5000, "1:1", "9:9", "1:", ":", "hf:no", "hf:", "markers", "kept.jsonl",
    "kept.safetensors", "broken", MODEL, VECTORS, ACTIVATIONS, "x.parquet", "x.json", "x.pkl", "x.gguf", "x.jsonl",
)

LIGHT = (
    ["score", "--vectors", VECTORS, "--text", "hi"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi", "--max-tokens", "2"],
    ["export", "--vectors", VECTORS, "--emotion", "anger", "--output", "x.gguf"],
    ["vectors", "--activations-dir", ACTIVATIONS, "--output", "x.safetensors"],
    ["extract", "--model", MODEL, "--output", "acts"], ["models", "verify", MODEL], ["models", "list"],
    ["prompts", "show"], ["prompts", "build", "--data-dir", "d"],
    ["punctuation", "--vectors", VECTORS, "--emotion", "anger", "--model", MODEL],
    ["sweep", "--vectors", VECTORS, "--layers", "1", "--dose", ".1", "--controls", "0"],
    ["subspace", "--activations-dir", ACTIVATIONS, "--output", "x.safetensors"],
)

WORK = (
    "--permutations", "--draws", "--controls", "--untrained", "--n-samples", "--donors", "--n-fit", "--n-random",
    "--shuffled",
)
"""More of these is more work, not bad input."""

KEYS = (
    "profile", "models", "results", "device", "dtype", "bos", "threads", "seed", "batch_tokens", "generic_texts",
    "steering", "untrained_seeds", "effects", "sharing", "interchange", "methods", "components", "doses", "depths",
    "position", "nonsense",
)

ODD_YAML = (
    b"", b"---", b"- a", b"a: b: c", b"models: ./no", b"models: []", b"models: [./no]\nmodels: [./no]",
    b"!!python/object:os.system [x]", b"&a [*a]", b"a: &a [b]\nb: *a", b"\tx: 1", b"models: [1, null]",
    b"models: [./no]\nsteering: {doses: []}", b"[" * 3000, b"? x", b"\xff\xfe",
    b"models: [./no]\nsteering: {doses: [.nan]}", b"models: [./no]\nresults: [a]", b"models: [./no]\nseed: 1e400",
    b"1: 2", b"{a: 1, a: 2}", b"models: [./no]\nresults: \"a\\0b\"", b"models: [\"./\\ud800\"]", b"seed: 2020-13-45",
    b"x: !!binary a", b"models: {a: 1}", b"a: 0o9", b"%YAML 9",
)

PATHS = (
    "", ".", "..", "~", "~nobody", "folder", "folder/", "loop", "dangling", "link.jsonl", "loop.jsonl", "kept.jsonl/x",
    "kept.jsonl/x.jsonl", "/dev/null", "/dev/full", "/dev/full/x.jsonl", "/proc/version/x.jsonl",
    "/proc/self/nope.jsonl", "no/such/folder/x.jsonl", "x" * 300, "x" * 250 + ".jsonl", "é" * 120 + ".jsonl",
    "x/" * 3000 + "y.jsonl", "a\nb.jsonl", "a\x1bb.jsonl", " .jsonl", ".jsonl", "x.", "x.jsonl.", "x.57Ux4", "x.lkqt",
    "x.pkl", "x.PT", "x.jsonl", "x.parquet", "x.safetensors", "x.gguf", "x.json", "-x.jsonl", "http://x/y.jsonl",
    "C:\\x.jsonl", "\udcff.jsonl", "x?.jsonl", "*.jsonl", "$HOME/x.jsonl", "\u2028.jsonl",
)

WRITERS = (
    ["score", "--vectors", VECTORS, "--text", "hi", "--output"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi", "--max-tokens", "1", "--output"],
    ["export", "--vectors", VECTORS, "--emotion", "anger", "--output"],
    ["vectors", "--activations-dir", ACTIVATIONS, "--output"], ["extract", "--model", MODEL, "--output"],
    ["prompts", "build", "--data-dir"], ["subspace", "--activations-dir", ACTIVATIONS, "--output"],
    ["score", "--model", MODEL, "--text", "hi", "--results"],
    ["evaluate", "--input", "good.jsonl", "--scorers", "markers", "--output"],
    ["audit", "--models", MODEL, "--results"],
)

READERS = (
    ["score", "--text", "hi", "--vectors"], ["score", "--vectors", VECTORS, "--input"],
    ["export", "--emotion", "anger", "--vectors"], ["vectors", "--output", "x.safetensors", "--activations-dir"],
    ["models", "verify"], ["prompts", "validate"], ["extract", "--model", MODEL, "--dataset"],
    ["score", "--vectors", VECTORS, "--text", "hi", "--model"], ["study"], ["evaluate", "--input"],
    ["heads", "ablate", "--model", MODEL, "--head-spec", "1:1", "--prompts-file"],
    ["prompts", "build", "--prompts-dir"],
)

MODEL_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors",
)

CONFIG_KEYS = (
    "architectures", "model_type", "n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "activation_function",
    "layer_norm_epsilon", "bos_token_id", "eos_token_id", "tie_word_embeddings", "torch_dtype", "dtype", "n_inner",
    "attn_pdrop", "initializer_range", "scale_attn_weights", "quantization_config", "auto_map", "rope_scaling",
    "transformers_version", "pad_token_id", "add_cross_attention", "is_decoder", "use_cache", "return_dict",
    "tokenizer_class", "adapter", "sliding_window", "_attn_implementation", "torchscript",
)

ODD_SETTINGS = (
    None, True, False, 0, -1, 1, 3, 7, 33, 64, 200, 1.5, "32", "", "gelu", "gpt2", "llama", "bert", "float16",
    "bfloat16", "nonsense", [], {}, [1], ["GPT2LMHeadModel"], {"quant_method": "bitsandbytes", "load_in_8bit": True},
    {"quant_method": "gptq", "bits": 4}, {"quant_method": "nope"}, {"AutoModelForCausalLM": "modeling.Own"},
    {"rope_type": "linear", "factor": 4.0},
)

MODEL_COMMANDS = (
    ["models", "verify", "./broken"], ["models", "verify", "./broken", "--json"],
    ["score", "--model", "./broken", "--vectors", VECTORS, "--text", "hi there"],
    ["extract", "--model", "./broken", "--output", "acts"],
    ["generate", "--model", "./broken?init=random", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi"],
    ["evaluate", "--model", "./broken", "--scorers", "markers", "--input", "good.jsonl"],
    ["evaluate", "--scorers", "hf:./broken", "--input", "good.jsonl"],
)

ARTEFACTS = (
    (VECTORS, ["score", "--text", "hi", "--vectors", "artefact"]),
    (VECTORS, ["export", "--emotion", "anger", "--vectors", "artefact"]),
    (VECTORS, ["generate", "--emotion", "anger", "--prompt", "hi", "--max-tokens", "1", "--vectors", "artefact"]),
    (ACTIVATIONS, ["vectors", "--output", "x.safetensors", "--activations-dir", "artefact"]),
    (ACTIVATIONS, ["subspace", "--output", "x.safetensors", "--activations-dir", "artefact"]),
    (VECTORS, ["models", "verify", "artefact.gguf"]),
)

ODD_CONTENTS = (
    b"", b"{}", b"[]", b"null", b"3", b"[" * 100_000, b"{", b"\xff\xfe\x00", b'{"a": NaN}', b"<html>",
    b"version https://git-lfs.github.com/spec/v1\n",
)
TOKENIZER_PARTS = (
    "model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "version", "truncation",
    "padding",
)
ODD_PARTS = (
    None, [], {}, "x", 3, {"type": "nope"}, {"type": "WordPiece", "vocab": {}, "unk_token": "x"}, {"type": "Lowercase"},
)
ODD_SHARDS = (
    "model-00001-of-00002.safetensors", "../kept.safetensors", "/etc/passwd", "", 3, None, "model.safetensors",
)
