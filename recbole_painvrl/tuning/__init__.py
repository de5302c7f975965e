"""Hyper-parameter searches: trials on the validation set, then one ordinary run of the winner.

==============  ======================================================================================
``space``       what a parameter may be
``grammar``     spaces from the lines of ``hyper.test``, and which keys may be searched
``proposals``   which parameters are tried next: all, or at random
``tpe``         the same by Hyperopt's tree of Parzen estimators
``trial``       one trial, which is trained and validated and never tested
``record``      ``search.json`` and ``trials.jsonl``: what was asked for, and how far each trial is
``places``      where trials are made and files go, which `--resume` keeps
``plan``        from a command to its search; every mistake in it is found before the first trial trains
``schedule``    trials side by side in processes, or one after the other
``on_ray``      trials on a Ray cluster, with Ray Tune and ASHA
``ray_trial``   one of those
``equal``       the same number of trials for every model of a comparison
``results``     the best trials as a table, all of them in RecBole's text form
``search``      all of it together
``flags``       the words of the command line
==============  ======================================================================================
"""
