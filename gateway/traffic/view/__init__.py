"""The traffic log in a full screen. Nothing else here imports Textual."""
