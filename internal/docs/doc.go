// Package docs holds the tests that keep the project's documentation true: the
// commands of the README are run, and rules and diagrams in the text are compared
// with those that are made from the examples. It has no code of its own.
package docs
