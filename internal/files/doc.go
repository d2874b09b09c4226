// Package files reads the files of both programs, and says who else could have written
// them.
//
// A file is read once, to its end or a limit, and nothing that is no file is waited for:
// a pipe in the configuration folder would hang every command. What is in a file is the
// business of others.
package files
