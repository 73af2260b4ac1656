"""The packages: what is installed here, as pins of `requirements.txt`, and as environments made from them."""
