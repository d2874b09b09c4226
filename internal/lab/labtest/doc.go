// Package labtest is package lab for tests: hosts and links that clean up after
// themselves, and helpers that fail the test instead of returning an error.
//
// A package whose tests use the kernel has
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
//
// and needs nothing more: as root its tests run as they are, elsewhere in a user
// namespace. What a machine cannot offer is skipped, except with CI=true in the
// environment, where a skip is a failure.
package labtest
