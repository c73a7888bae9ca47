"""Options: flags > `LLAMACHAT_*` > config.toml > defaults, each declared once as a field of a model here."""
