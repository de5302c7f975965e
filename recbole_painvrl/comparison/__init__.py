"""Models side by side: every model on every data set with every seed, each a run of its own, then one table.

==============  ======================================================================================
``plan``        from a command to its runs; every mistake in it is found before the first one trains
``record``      ``comparison.json``: what was asked for, and how far each run is
``worker``      one run, wherever it is run
``in_process``  runs one after the other, in this process
``processes``   runs side by side, a process each
``local``       which of these two
``on_ray``      runs side by side on a Ray cluster
``cores``       how many at once, with how many threads
``schedule``    which run next, and what became of it
``progress``    how far all of it is, and how long it takes
``stop``        what a signal does
``compare``     all of it together
==============  ======================================================================================

``record`` needs neither RecBole nor torch.
"""
