"""Every site of every layer, computed from the weights alone: float64, head by head, token by token, no torch modules.

Nothing here is shared with the engine or with transformers' forward passes; only the names of the weights are theirs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import erf

from emotion_circuits.models import LoadedModel

Array = np.ndarray


def sites_by_hand(lm: LoadedModel, ids: tuple[int, ...]) -> dict[tuple[str, int], Array]:
    """(site, layer) → (tokens, width) for one text; and ("final", 0) after the last norm, ("logits", 0)."""
    weights = {name: value.double().numpy() for name, value in lm.hf.state_dict().items()}
    if lm.lm_head.weight is lm.embedding.weight:
        weights["head"] = lm.embedding.weight.double().numpy()
    by_hand = {"gpt2": _gpt2, "gpt_neox": _gpt_neox, "gpt_neo": _gpt_neo, "gemma2": _gemma, "gemma3": _gemma}
    return by_hand.get(lm.family.name, _llama)(weights, lm.config, np.array(ids))


def _layer_norm(x: Array, w: dict[str, Array], name: str, eps: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def _rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight


def _gelu_new(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _attend(q: Array, k: Array, v: Array, scale: float, window: int | None = None, cap: float | None = None) -> Array:
    """One head: (tokens, d_head) each; every token sees itself and those before it, at most `window` of them."""
    out = np.zeros_like(v)
    for t in range(len(q)):
        first = 0 if window is None else max(0, t - window + 1)
        scores = np.array([q[t] @ k[s] for s in range(first, t + 1)]) * scale
        scores = scores if cap is None else cap * np.tanh(scores / cap)
        weights = np.exp(scores - scores.max())
        out[t] = sum(a * v[s] for a, s in zip(weights / weights.sum(), range(first, t + 1), strict=True))
    return out


def _rotated(x: Array, n_rotated: int, theta: float) -> Array:
    """Dimension j is turned together with j + n_rotated / 2; the rest stays."""
    half, out = n_rotated // 2, x.copy()
    for t in range(len(x)):
        for j in range(half):
            angle = t * theta ** (-2 * j / n_rotated)
            a, b = x[t, j], x[t, j + half]
            out[t, j] = a * math.cos(angle) - b * math.sin(angle)
            out[t, j + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def _collect(seen: dict[tuple[str, int], Array], layer: int, **sites: Array) -> None:
    seen.update({(site, layer): value for site, value in sites.items()})


def _gpt2(w: dict[str, Array], config: Any, ids: Array) -> dict[tuple[str, int], Array]:
    d, heads, eps = config.n_embd, config.n_head, config.layer_norm_epsilon
    size = d // heads
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: len(ids)]
    seen = {("embed", 0): x}
    for layer in range(config.n_layer):
        at = f"transformer.h.{layer}"
        normed = _layer_norm(x, w, f"{at}.ln_1", eps)
        qkv = normed @ w[f"{at}.attn.c_attn.weight"] + w[f"{at}.attn.c_attn.bias"]  # stored transposed
        q, k, v = qkv[:, :d], qkv[:, d : 2 * d], qkv[:, 2 * d :]
        own = [slice(h * size, (h + 1) * size) for h in range(heads)]
        z = np.hstack([_attend(q[:, s], k[:, s], v[:, s], size**-0.5) for s in own])
        attn = z @ w[f"{at}.attn.c_proj.weight"] + w[f"{at}.attn.c_proj.bias"]
        mid = x + attn
        hidden = _layer_norm(mid, w, f"{at}.ln_2", eps) @ w[f"{at}.mlp.c_fc.weight"] + w[f"{at}.mlp.c_fc.bias"]
        act = _gelu_new(hidden)
        mlp = act @ w[f"{at}.mlp.c_proj.weight"] + w[f"{at}.mlp.c_proj.bias"]
        _collect(
            seen, layer, resid_pre=x, z=z, attn_out=attn, resid_mid=mid, mlp_act=act, mlp_out=mlp, resid_post=mid + mlp
        )
        x = mid + mlp
    seen["final", 0] = _layer_norm(x, w, "transformer.ln_f", eps)
    seen["logits", 0] = seen["final", 0] @ w["head"].T
    return seen


def _gpt_neo(w: dict[str, Array], config: Any, ids: Array) -> dict[tuple[str, int], Array]:
    heads, eps = config.num_heads, config.layer_norm_epsilon
    size = config.hidden_size // heads
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: len(ids)]
    seen = {("embed", 0): x}
    for layer in range(config.num_layers):
        at = f"transformer.h.{layer}"
        window = config.window_size if config.attention_layers[layer] == "local" else None
        normed = _layer_norm(x, w, f"{at}.ln_1", eps)
        q, k, v = (normed @ w[f"{at}.attn.attention.{part}_proj.weight"].T for part in "qkv")
        own = [slice(h * size, (h + 1) * size) for h in range(heads)]
        z = np.hstack([_attend(q[:, s], k[:, s], v[:, s], 1.0, window) for s in own])  # scores are not scaled
        attn = z @ w[f"{at}.attn.attention.out_proj.weight"].T + w[f"{at}.attn.attention.out_proj.bias"]
        mid = x + attn
        hidden = _layer_norm(mid, w, f"{at}.ln_2", eps) @ w[f"{at}.mlp.c_fc.weight"].T + w[f"{at}.mlp.c_fc.bias"]
        act = _gelu_new(hidden)
        mlp = act @ w[f"{at}.mlp.c_proj.weight"].T + w[f"{at}.mlp.c_proj.bias"]
        _collect(
            seen, layer, resid_pre=x, z=z, attn_out=attn, resid_mid=mid, mlp_act=act, mlp_out=mlp, resid_post=mid + mlp
        )
        x = mid + mlp
    seen["final", 0] = _layer_norm(x, w, "transformer.ln_f", eps)
    seen["logits", 0] = seen["final", 0] @ w["head"].T
    return seen


def _gpt_neox(w: dict[str, Array], config: Any, ids: Array) -> dict[tuple[str, int], Array]:
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    size = config.hidden_size // heads
    turned = int(size * config.rope_parameters["partial_rotary_factor"])
    theta = config.rope_parameters["rope_theta"]
    x = w["gpt_neox.embed_in.weight"][ids]
    seen = {("embed", 0): x}
    for layer in range(config.num_hidden_layers):
        at = f"gpt_neox.layers.{layer}"
        normed = _layer_norm(x, w, f"{at}.input_layernorm", eps)
        qkv = normed @ w[f"{at}.attention.query_key_value.weight"].T + w[f"{at}.attention.query_key_value.bias"]
        z = []
        for h in range(heads):  # q, k and v of a head lie side by side
            q, k, v = (qkv[:, (3 * h + part) * size : (3 * h + part + 1) * size] for part in range(3))
            z.append(_attend(_rotated(q, turned, theta), _rotated(k, turned, theta), v, size**-0.5))
        attn = np.hstack(z) @ w[f"{at}.attention.dense.weight"].T + w[f"{at}.attention.dense.bias"]
        read = x if config.use_parallel_residual else x + attn
        hidden = _layer_norm(read, w, f"{at}.post_attention_layernorm", eps)
        act = _gelu(hidden @ w[f"{at}.mlp.dense_h_to_4h.weight"].T + w[f"{at}.mlp.dense_h_to_4h.bias"])
        mlp = act @ w[f"{at}.mlp.dense_4h_to_h.weight"].T + w[f"{at}.mlp.dense_4h_to_h.bias"]
        post = x + attn + mlp
        _collect(seen, layer, resid_pre=x, z=np.hstack(z), attn_out=attn, mlp_act=act, mlp_out=mlp, resid_post=post)
        if not config.use_parallel_residual:
            seen["resid_mid", layer] = x + attn
        x = post
    seen["final", 0] = _layer_norm(x, w, "gpt_neox.final_layer_norm", eps)
    seen["logits", 0] = seen["final", 0] @ w["embed_out.weight" if "embed_out.weight" in w else "lm_head.weight"].T
    return seen


def _llama(w: dict[str, Array], config: Any, ids: Array) -> dict[tuple[str, int], Array]:
    """Mistral and both Qwens too: biases, norms of queries and keys where there are weights for them, windows."""
    heads, shared = config.num_attention_heads, config.num_attention_heads // config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    eps, theta = config.rms_norm_eps, config.rope_parameters["rope_theta"]
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    x = w["model.embed_tokens.weight"][ids]
    seen = {("embed", 0): x}
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}"
        window = getattr(config, "sliding_window", None) if kinds[layer] == "sliding_attention" else None
        normed = _rms_norm(x, w[f"{at}.input_layernorm.weight"], eps)
        z = _rotary_heads(w, f"{at}.self_attn", normed, heads, shared, size, theta, window, size**-0.5, eps)
        attn = z @ w[f"{at}.self_attn.o_proj.weight"].T + w.get(f"{at}.self_attn.o_proj.bias", 0.0)
        mid = x + attn
        hidden = _rms_norm(mid, w[f"{at}.post_attention_layernorm.weight"], eps)
        act = _silu(hidden @ w[f"{at}.mlp.gate_proj.weight"].T) * (hidden @ w[f"{at}.mlp.up_proj.weight"].T)
        mlp = act @ w[f"{at}.mlp.down_proj.weight"].T
        post = mid + mlp
        _collect(seen, layer, resid_pre=x, z=z, attn_out=attn, resid_mid=mid, mlp_act=act, mlp_out=mlp, resid_post=post)
        x = post
    seen["final", 0] = _rms_norm(x, w["model.norm.weight"], eps)
    seen["logits", 0] = seen["final", 0] @ w["head" if "head" in w else "lm_head.weight"].T
    return seen


def _rotary_heads(
    w: dict[str, Array], at: str, normed: Array, heads: int, shared: int, size: int, theta: float,
    window: int | None, scale: float, eps: float, unit: float = 0.0, cap: float | None = None,
) -> Array:  # fmt: skip
    """`z` of one layer; `unit` is what gains of norms are counted from."""
    q, k, v = (normed @ w[f"{at}.{part}_proj.weight"].T + w.get(f"{at}.{part}_proj.bias", 0.0) for part in "qkv")

    def turned(x: Array, part: str) -> Array:
        gain = w.get(f"{at}.{part}_norm.weight")
        return _rotated(x if gain is None else _rms_norm(x, unit + gain, eps), size, theta)

    z = []
    for h in range(heads):  # several heads share the keys and values of one
        mine, theirs = slice(h * size, (h + 1) * size), slice(h // shared * size, (h // shared + 1) * size)
        z.append(_attend(turned(q[:, mine], "q"), turned(k[:, theirs], "k"), v[:, theirs], scale, window, cap))
    return np.hstack(z)


def _gemma(w: dict[str, Array], config: Any, ids: Array) -> dict[tuple[str, int], Array]:
    """Gemma 2 has one base of rotation and caps scores; Gemma 3 a base for each kind of layer and norms of queries."""
    heads, eps = config.num_attention_heads, config.rms_norm_eps
    capped = config.attn_logit_softcapping if config.model_type == "gemma2" else None
    shared = heads // config.num_key_value_heads
    x = w["model.embed_tokens.weight"][ids] * math.sqrt(config.hidden_size)
    seen = {("embed", 0): x}
    for layer in range(config.num_hidden_layers):
        at, kind = f"model.layers.{layer}", config.layer_types[layer]

        def norm(x: Array, name: str, at: str = at) -> Array:
            return _rms_norm(x, 1 + w[f"{at}.{name}layernorm.weight"], eps)

        theta = config.rope_parameters.get(kind, config.rope_parameters)["rope_theta"]
        window = config.sliding_window if kind == "sliding_attention" else None
        z = _rotary_heads(
            w, f"{at}.self_attn", norm(x, "input_"), heads, shared, config.head_dim, theta, window,
            config.query_pre_attn_scalar**-0.5, eps, unit=1.0, cap=capped,
        )  # fmt: skip
        attn = norm(z @ w[f"{at}.self_attn.o_proj.weight"].T, "post_attention_")
        mid = x + attn
        hidden = norm(mid, "pre_feedforward_")
        act = _gelu_new(hidden @ w[f"{at}.mlp.gate_proj.weight"].T) * (hidden @ w[f"{at}.mlp.up_proj.weight"].T)
        mlp = norm(act @ w[f"{at}.mlp.down_proj.weight"].T, "post_feedforward_")
        post = mid + mlp
        _collect(seen, layer, resid_pre=x, z=z, attn_out=attn, resid_mid=mid, mlp_act=act, mlp_out=mlp, resid_post=post)
        x = post
    seen["final", 0] = _rms_norm(x, 1 + w["model.norm.weight"], eps)
    seen["logits", 0] = seen["final", 0] @ w["head" if "head" in w else "lm_head.weight"].T
    cap = config.final_logit_softcapping
    if cap is not None:
        seen["logits", 0] = cap * np.tanh(seen["logits", 0] / cap)
    return seen
