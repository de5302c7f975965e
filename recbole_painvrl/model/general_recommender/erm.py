"""ERM: PaInvRL's recommender without its three modules."""

from __future__ import annotations

from recbole_painvrl.model.fusion_recommender import FusionRecommender


class ERM(FusionRecommender):
    """Empirical risk minimization: item ids and all item features, one loss, no environments, no mask.

    It is what PaInvRL's warm-up trains, and stands beside PaInvRL in every comparison so that no gain is credited to
    the three modules that the recommender under them makes on its own. ``modalities: {}`` makes it an id-only model.
    """
