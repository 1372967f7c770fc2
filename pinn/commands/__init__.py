"""The commands of ``optsci`` that solve partial differential equations."""
