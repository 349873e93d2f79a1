"""The tour to take: what to look at first, as whom."""

from __future__ import annotations

STOPS = (
    (
        "p08",
        "Dr Nadia BENALI, urgentiste à Auch",
        "ouvre {live} : un AVC envoyé il y a quelques minutes, pas encore lu ; l'IRM d'il y a deux ans est "
        "venue seule du PACS, celle de la jumelle non.",
    ),
    (
        "p05",
        "Dr Antoine DURAND, neurologue au CHU",
        "lit {live} : p08 voit « Dossier lu par… » sans recharger ; il prend en charge, répond, signe.",
    ),
    ("p05", "Dr Antoine DURAND", "TD-2024-000001 : le même parcours, terminé, avec son compte rendu PDF."),
    (
        "p01",
        "Dr Paul DUPONT, urgentiste au CHIVA",
        "TD-2024-000002 : les images, bouton « Comparer » : deux scanners côte à côte, à la même hauteur.",
    ),
    (
        "p13",
        "Mme Karine SICARD, secrétaire de RCP",
        "TD-2024-000008 : un transfert d'imagerie à lire et à acquitter.",
    ),
    (
        "p02",
        "Mme Isabelle PETIT, secrétaire au CHIVA",
        "TD-2024-000004 : une demande écrite en délégation du Dr Robert.",
    ),
    (
        "p06",
        "Dr Claire VIDAL, neurologue à Montpellier",
        "TD-2024-000007 : non lu à Toulouse, repris à Montpellier.",
    ),
    (
        "p21",
        "Mme Olivia MARCHAND, administration régionale",
        "la page « Sites » : passerelles, PACS, ce qui est activé.",
    ),
    (
        "p19",
        "Mme Martine BOUSQUET, Bureau des entrées",
        "ne voit aucun télédossier : chacun ne voit que les siens.",
    ),
)
"""(sign-in name, who it is, what to look at); `{live}` is the number of the télédossier that waits to be
read."""


def tour(live: str) -> list[str]:
    """Lines to print."""
    return [
        f"{place}. {id} ({who}) {what.format(live=live)}" for place, (id, who, what) in enumerate(STOPS, 1)
    ]
