"""The stages of the pipeline: detect, restore, paste, and the frame that passes through them."""
