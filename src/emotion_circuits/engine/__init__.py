"""The one place that runs a forward pass: record, edit, replay, differentiate, generate."""

from emotion_circuits.engine._attention import Attention, attention_of
from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch, plan_batches
from emotion_circuits.engine._edits import Edit, ablate_direction, add, replace
from emotion_circuits.engine._generate import generate
from emotion_circuits.engine._gradients import Gradients, gradients
from emotion_circuits.engine._precision import PrecisionProbe, matmul_precision, probe_precision
from emotion_circuits.engine._record import Recording, for_each_batch, record, record_tokens
from emotion_circuits.engine._replay import PrefixReplay, final_states, logits_at, run_from
from emotion_circuits.engine._run import count_hooks, forward, hooks, logits_of, only_blocks
from emotion_circuits.engine._sites import SITES, Point, Site, check_point
from emotion_circuits.engine._verify import Check, Verification, load_verified, packing_error, verify, with_packing

__all__ = [
    "DEFAULT_BATCH_TOKENS",
    "SITES",
    "Attention",
    "Batch",
    "Check",
    "Edit",
    "Gradients",
    "Point",
    "PrecisionProbe",
    "PrefixReplay",
    "Recording",
    "Site",
    "Verification",
    "ablate_direction",
    "add",
    "attention_of",
    "check_point",
    "count_hooks",
    "final_states",
    "for_each_batch",
    "forward",
    "generate",
    "gradients",
    "hooks",
    "load_verified",
    "logits_at",
    "logits_of",
    "matmul_precision",
    "only_blocks",
    "packing_error",
    "plan_batches",
    "probe_precision",
    "record",
    "record_tokens",
    "replace",
    "run_from",
    "verify",
    "with_packing",
]
