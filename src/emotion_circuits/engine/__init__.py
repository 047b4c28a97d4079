"""The one place that runs a forward pass: record, edit, replay, differentiate, generate."""

from emotion_circuits.engine._attention import Attention, attention_of
from emotion_circuits.engine._batches import DEFAULT_BATCH_TOKENS, Batch, plan_batches
from emotion_circuits.engine._branches import plan_branches
from emotion_circuits.engine._edits import Edit, ablate_direction, add, at_tokens, put, replace
from emotion_circuits.engine._generate import (
    ROWS_AT_ONCE,
    Schedule,
    Written,
    generate,
    generate_finite,
    prompt_values,
    row_seeds,
)
from emotion_circuits.engine._generate_variants import generate_variants
from emotion_circuits.engine._gradients import Gradients, gradients, pulled_back
from emotion_circuits.engine._kept_parts import KeptParts
from emotion_circuits.engine._precision import matmul_precision
from emotion_circuits.engine._pushes import EMBED, Push, Pushes, added, edits_of, joined, n_variants, point_of
from emotion_circuits.engine._record import Recording, for_each_batch, record, record_tokens
from emotion_circuits.engine._replay import PrefixReplay, final_states, in_chunks, logits_at, run_from
from emotion_circuits.engine._run import count_hooks, forward, hooks, logits_of, only_blocks
from emotion_circuits.engine._sites import SITES, Point, Site, check_point
from emotion_circuits.engine._stream import Arm, Step, next_log_p, stream
from emotion_circuits.engine._suffix import CleanPrefix, SuffixReplay
from emotion_circuits.engine._tails import TailBatch, shared_tokens, tails, with_ids
from emotion_circuits.engine._threads import threads
from emotion_circuits.engine._verify import Check, Verification, load_verified, packing_error, verify, with_packing
from emotion_circuits.engine._writes import WriteSite, write_scale, write_weight

__all__ = [
    "DEFAULT_BATCH_TOKENS",
    "EMBED",
    "ROWS_AT_ONCE",
    "SITES",
    "Arm",
    "Attention",
    "Batch",
    "Check",
    "CleanPrefix",
    "Edit",
    "Gradients",
    "KeptParts",
    "Point",
    "PrefixReplay",
    "Push",
    "Pushes",
    "Recording",
    "Schedule",
    "Site",
    "Step",
    "SuffixReplay",
    "TailBatch",
    "Verification",
    "WriteSite",
    "Written",
    "ablate_direction",
    "add",
    "added",
    "at_tokens",
    "attention_of",
    "check_point",
    "count_hooks",
    "edits_of",
    "final_states",
    "for_each_batch",
    "forward",
    "generate",
    "generate_finite",
    "generate_variants",
    "gradients",
    "hooks",
    "in_chunks",
    "joined",
    "load_verified",
    "logits_at",
    "logits_of",
    "matmul_precision",
    "n_variants",
    "next_log_p",
    "only_blocks",
    "packing_error",
    "plan_batches",
    "plan_branches",
    "point_of",
    "prompt_values",
    "pulled_back",
    "put",
    "record",
    "record_tokens",
    "replace",
    "row_seeds",
    "run_from",
    "shared_tokens",
    "stream",
    "tails",
    "threads",
    "verify",
    "with_ids",
    "with_packing",
    "write_scale",
    "write_weight",
]
