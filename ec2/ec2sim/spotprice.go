package ec2sim

import "time"

// spotFraction of the on-demand price is what a spot instance costs while no
// scenario says otherwise: AWS advertises discounts of up to 90 %, and most
// types are sold at about a third.
const spotFraction = 0.35

// spotPrice is what an hour of a spot offering costs at a time, in US dollars:
// what the scenario says, else a part of the on-demand price. A type that there
// is not costs nothing.
func (s *Server) spotPrice(instanceType, zone string, at time.Time) float64 {
	if price, ok := s.playing.spotPrice(instanceType, zone, at); ok {
		return price
	}
	t, _ := typeNamed(instanceType)
	return t.pricePerHour * spotFraction
}
