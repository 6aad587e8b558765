"""The user's own truth: results of VLMs that were trained elsewhere, and the record of scores against them."""
