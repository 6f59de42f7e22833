package aggregator

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// sizeWords is a byte count as people say it: 4.1 kB, 20 MB.
func sizeWords(bytes int64) string {
	if bytes < 1000 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value := float64(bytes)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		if value /= 1000; value < 999.5 || unit == "TB" {
			if value < 9.95 {
				return fmt.Sprintf("%.1f %s", value, unit)
			}
			return fmt.Sprintf("%.0f %s", value, unit)
		}
	}
	return ""
}

// countWords groups digits by thousands with a thin space: 12 345.
func countWords[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "−", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "\u202f" + digits[at:]
	}
	return sign + digits
}

// secondsWords is a delay: 0.4 ms, 320 ms, 4.1 s, 3 min 20 s, 2 h 5 min, 4 d 3 h.
func secondsWords(seconds float64) string {
	switch {
	case seconds < 0:
		return "−" + secondsWords(-seconds)
	case seconds == 0:
		return "0 s"
	case seconds < 0.001:
		return "< 1 ms"
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 9.95:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 99.5:
		return fmt.Sprintf("%.0f s", seconds)
	}
	n := int64(math.Round(seconds))
	switch {
	case n < 3600:
		return twoUnits(n/60, "min", n%60, "s")
	case n < 86400:
		return twoUnits(n/3600, "h", n%3600/60, "min")
	}
	return twoUnits(n/86400, "d", n%86400/3600, "h")
}

func twoUnits(large int64, largeUnit string, small int64, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d %s", large, largeUnit)
	}
	return fmt.Sprintf("%d %s %d %s", large, largeUnit, small, smallUnit)
}

func durationWords(d time.Duration) string { return secondsWords(d.Seconds()) }

// agoWords is how long ago t was, in one unit, as a narrow column holds it: 3 s, 12 min, 5 h, 3 d.
func agoWords(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return ""
	case d < -time.Second:
		return "ahead"
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// agoLongWords is agoWords in running text: 12 min ago.
func agoLongWords(t, now time.Time) string {
	words := agoWords(t, now)
	if words == "" || words == "now" || words == "ahead" {
		return words
	}
	return words + " ago"
}

// clockWords is the server's form of a time, for readers without JavaScript: UTC, with the date where it isn't today's,
// and the date alone where it isn't this year's.
func clockWords(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	if t.Year() == now.Year() {
		return t.Format("01-02 15:04")
	}
	return t.Format(time.DateOnly)
}

func exactWords(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if t.Nanosecond() == 0 { // from a log that writes whole seconds
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// shareWords is a percentage that never rounds a fault away: 100 % means all, 0 % means none.
func shareWords(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	share := 100 * float64(part) / float64(whole)
	switch {
	case part == 0 || part == whole:
		return fmt.Sprintf("%.0f %%", share)
	case share > 99.9:
		return "> 99.9 %"
	case share < 0.1:
		return "< 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", share)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return countWords(n) + " " + many
}

// hostPort joins an address and a port; port 0 is none.
func hostPort(address string, port int) string {
	if port == 0 {
		return address
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}
