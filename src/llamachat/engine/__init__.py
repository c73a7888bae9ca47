"""What runs in the child: `python -m llama_cpp.server` and its guards. The only importer of llama_cpp."""
