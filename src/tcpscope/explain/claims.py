"""What often-read articles say, and what is so; the claims stand in :mod:`tcpscope.explain.claim_table`."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, prose_sections
from tcpscope.explain.claim_table import ARTICLES, CLAIMS, VERDICTS, Claim

_BY_ID = {claim.id: claim for claim in CLAIMS}


def claim_named(text: str) -> Claim | None:
    """Return the claim of an id (``002-4``, ``claim 002-4``, ``2-4``), or ``None``."""
    wanted = text.strip().lower().removeprefix("claim").strip()
    article, dash, number = wanted.partition("-")
    if not (dash and article.isascii() and article.isdigit() and number.isascii() and number.isdigit()):
        return None
    return _BY_ID.get(f"{article[-3:]:0>3}-{number.lstrip('0')}")


def explain_claim(claim: Claim) -> Answer:
    """Explain one claim: what the article says, the verdict, what is so."""
    sections = prose_sections(
        ("In truth", claim.truth),
        ("Measured on Linux 6.18", f"{claim.measured[:1].upper()}{claim.measured[1:]}." if claim.measured else ""),
        ("Article", f"{claim.id[:3]}: {ARTICLES[claim.id[:3]]}."),
    )
    verdict = VERDICTS[claim.verdict]
    return Answer(
        "claim",
        claim.id,
        f"Claim {claim.id}: {verdict}",
        f"The article says: {claim.says}",
        sections,
        claim.see_also,
        claim._asdict() | {"see_also": list(claim.see_also)},
    )


def explain_claims(article: str = "") -> Answer:
    """List all claims with their verdicts, or those of one ``article`` (``002``)."""
    chosen = tuple(claim for claim in CLAIMS if claim.id.startswith(article))
    counts = ", ".join(
        f"{sum(claim.verdict == verdict for claim in chosen)} {spelled}" for verdict, spelled in VERDICTS.items()
    )
    sections = [
        Section(
            "Articles",
            items=tuple(f"{number}: {what}" for number, what in ARTICLES.items() if number.startswith(article)),
        )
    ]
    for number in ARTICLES:
        rows = tuple(
            (claim.id, claim.says, VERDICTS[claim.verdict], _truth(claim))
            for claim in chosen
            if claim.id.startswith(number)
        )
        if rows:
            sections.append(Section(f"Article {number}", grid=Grid(("claim", "says", "verdict", "in truth"), rows)))
    summary = f"{len(chosen)} claims of often-read articles on netstat and TCP states: {counts}."
    facts: dict[str, object] = {"articles": ARTICLES, "claims": [claim._asdict() for claim in chosen]}
    return Answer(
        "claims", "claims", "What the articles say, and what is so", summary, tuple(sections), ("advice",), facts
    )


def _truth(claim: Claim) -> str:
    return f"{claim.truth} Measured: {claim.measured}." if claim.measured else claim.truth
