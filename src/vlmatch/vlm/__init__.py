"""Vision-language models: an encoder, a projector and an LLM, trained in the stages of a recipe."""
