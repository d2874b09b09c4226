// Package say is how both programs speak to a person: every error, hint and
// warning, the progress line, tables, and times in words.
//
// Words go to standard error and data to standard output, so that what a
// script reads is never mixed with what a person reads. The package decides
// how words look, not what they say.
package say
