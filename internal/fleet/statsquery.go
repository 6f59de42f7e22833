package fleet

import (
	"net/url"
	"strconv"
	"time"
)

// What a statistics query asks for where it names nothing: the last day in half hours.
const (
	defaultStatsSpan  = 24 * time.Hour
	defaultStatsSteps = 48
	paramSteps        = "steps"
)

// ParseStatsQuery reads a statistics query from URL parameters: since and until as [ParseQuery] has them, and steps. The
// error is an [Error] that names the field.
func ParseStatsQuery(values url.Values, now time.Time) (StatsQuery, error) {
	q := StatsQuery{Steps: defaultStatsSteps}
	var err error
	if q.Until, err = parseTime(paramUntil, values.Get(paramUntil), now); err != nil {
		return StatsQuery{}, err
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	if q.Since, err = parseTime(paramSince, values.Get(paramSince), now); err != nil {
		return StatsQuery{}, err
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-defaultStatsSpan)
	}
	if text := values.Get(paramSteps); text != "" {
		if q.Steps, err = strconv.Atoi(text); err != nil {
			return StatsQuery{}, Invalid(paramSteps, "%q is not a number from 1 to %d", clip(text, 40), MaxSteps)
		}
	}
	return q, q.Validate()
}

// Validate tells the first field that can't be asked for.
func (q *StatsQuery) Validate() error {
	if !q.Since.Before(q.Until) {
		return Invalid(paramUntil, "is not after since")
	}
	if q.Steps < 1 || q.Steps > MaxSteps {
		return Invalid(paramSteps, "%d is not a number from 1 to %d", q.Steps, MaxSteps)
	}
	return nil
}

// Values is the query as URL parameters; ParseStatsQuery reads them back.
func (q *StatsQuery) Values() url.Values {
	return url.Values{
		paramSince: {q.Since.UTC().Format(time.RFC3339Nano)},
		paramUntil: {q.Until.UTC().Format(time.RFC3339Nano)},
		paramSteps: {strconv.Itoa(q.Steps)},
	}
}
