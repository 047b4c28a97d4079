import emotion_circuits as ec
from emotion_circuits.geometry import LinearAligner, check_aligner


@ec.register_aligner
class ComponentRegression(LinearAligner):
    """Least squares from component scores to component scores, without a penalty."""

    name = "component-regression"

    def _fit_map(self, source, target, groups):
        return self._inverse(source) @ target

    def _inverse(self, scores):
        return (scores / (scores**2).sum(axis=0)).T  # scores are principal components: their products are diagonal

    def factors(self):  # the map is their product; for shuffled texts the order between them is another
        source, target = self.training_texts()
        return self._inverse(source.scores), target.scores


if __name__ == "__main__":  # finds what is planted, nothing in noise, is deterministic, survives a file, ...
    check_aligner(ComponentRegression())
