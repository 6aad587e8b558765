"""Where models and data come from: packages, archives, model folders and adapters; found, checked and unpacked."""
