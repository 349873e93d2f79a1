"""The télédossier guide, made from its sources: short YAML in `profiles/packages/source`, one entry per
definition, becomes the FHIR resources in `profiles/packages/teledossier`, which are committed and read at run
time.

`python -m profiles.packages.making` writes them; a test holds the two to each other.
"""
