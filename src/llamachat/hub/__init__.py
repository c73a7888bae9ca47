"""Models: names, catalogue, download, fit to memory. The only importer of huggingface_hub."""
