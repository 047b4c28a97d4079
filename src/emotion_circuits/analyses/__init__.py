"""A user's own analysis in one file: it becomes a command, a stage of studies, a section of the report and its claims.

```python
from emotion_circuits.analyses import AnalysisPlan, analysis

@analysis("lengths", question="How long are the directions?", needs=("directions",))
class Lengths:
    class Plan(AnalysisPlan):
        position: str = "mean"

    def run(self, work, plan, model): ...        # → Measures
```
"""

from emotion_circuits.analyses._analysis import LANGUAGES, NEEDS, Analysis, AnalysisPlan, Measures, analysis
from emotion_circuits.analyses._load import analyses_from, load_analyses

__all__ = [
    "LANGUAGES",
    "NEEDS",
    "Analysis",
    "AnalysisPlan",
    "Measures",
    "analyses_from",
    "analysis",
    "load_analyses",
]
