// Package save reads what iptables-save and `iptables -S` print. It knows the form of
// the text, and nothing of what a rule means.
package save
