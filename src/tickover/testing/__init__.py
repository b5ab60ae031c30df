"""Conformance suites for every port, and fakes to test against. Public: adapters outside this package use them too."""
