from support.session.unit import alone

__all__ = ["alone"]
