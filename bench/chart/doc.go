// Package chart draws the plots of the performance page as SVG: lines over a row of
// labels, and bars. It draws what it is given; it knows nothing of packets.
package chart
