"""What an answer may be: JSON Schema and GBNF, as rules that a sampler can follow byte by byte. Pure."""
