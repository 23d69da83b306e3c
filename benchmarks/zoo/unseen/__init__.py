"""Models that the matchers were not made with: how well they do on these is how well they do.

They are reported apart, with rules of their own for what is what. A failure here is no reason to
change a matcher: then the model belongs to the other entries, and another one here.
"""
