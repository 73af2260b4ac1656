"""What answers requests: `inference_model.py`, which is yours to edit."""
