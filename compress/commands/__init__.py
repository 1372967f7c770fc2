"""The commands of ``optsci`` that compress language models and measure them."""
