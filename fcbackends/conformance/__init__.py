"""The conformance kit: whether a backend keeps the contract, and where it does not.

`verify` holds any backend against it, `fcbackends verify` does so on the command line, and

    pytest --pyargs fcbackends.conformance --backend NAME

in a test suite. Cases are random but reproducible: seed and index name one on every machine.
"""

from fcbackends.conformance.campaign import Verdict, stated_class, verify
from fcbackends.conformance.tally import Finding, Tally

__all__ = ["Finding", "Tally", "Verdict", "stated_class", "verify"]
