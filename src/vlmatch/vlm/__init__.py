"""Vision-language models: encoder, projector and LLM, trained in stages as a recipe says."""
