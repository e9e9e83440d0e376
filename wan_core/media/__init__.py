"""Encoders and decoders of sound and picture: the two codecs, log-mel, and what sees and hears the user."""
