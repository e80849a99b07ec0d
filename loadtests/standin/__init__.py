"""A model API stand-in that speaks the OpenAI and Anthropic dialects, for demo, tests, benches."""
