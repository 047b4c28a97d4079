from study_fixtures import common, small, undisturbed

__all__ = ["common", "small", "undisturbed"]
