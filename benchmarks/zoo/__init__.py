"""A labelled zoo: models, what is done with them, and which ops truly belong to which pattern.

While a model runs, each of its modules' calls, and those of a few functions, are noted with the ops
that they record (`calls`). `rules` says what such a call is, and `labels` makes of it the truth of
a graph. The matchers that are judged (`judge`) see none of that.
"""
