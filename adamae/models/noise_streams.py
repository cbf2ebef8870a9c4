"""Numbers that models fold into a clip's noise, one for each consumer.

They are part of what a seed means: with other numbers the same seed gives other masks and other dropout.
"""

# For a pre-training model.
SAMPLER, ENCODER, DECODER, FRAME_CHOICE, DECODER_BUDGET = range(5)
# For a classifier: added to the depth, because the encoder's blocks fold in the numbers below it.
TOKENS_AFTER_BLOCKS, FRAMES_AFTER_BLOCKS, HEAD_AFTER_BLOCKS = range(3)
