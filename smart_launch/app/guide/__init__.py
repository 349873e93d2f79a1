"""The guide's readable pages under `/guide`: what `profiles.packages` defines, for people."""
