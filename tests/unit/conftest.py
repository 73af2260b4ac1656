from support.unit import alone

__all__ = ["alone"]
