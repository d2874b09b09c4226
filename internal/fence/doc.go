// Package fence finds the fenced parts of Markdown files, for the tests that run
// the documentation's commands.
package fence
