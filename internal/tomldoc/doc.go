// Package tomldoc reads a TOML file such that every complaint about it can
// point at the place that is wrong.
//
// The values come from github.com/BurntSushi/toml. It knows positions only of
// syntax errors, so a small scanner of TOML's lexical form (keys, the four kinds
// of strings, brackets, comments) notes where each key and value is written. A
// [Table] joins the two: it hands out typed values with their places and collects
// what is wrong as [Problem] values, all of a file in one run.
//
//	file → Parse → Document → Table → typed fields for profiles and settings
//
// What a key may hold, beyond its type, is decided by the packages that ask.
package tomldoc
