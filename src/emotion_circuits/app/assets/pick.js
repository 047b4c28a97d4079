// Whatever has `data-pick` can be clicked, or chosen with Enter; arrow keys go from token to token.
const tokens = () => [...element.querySelectorAll('.ec-token')]
const pick = own => trigger('click', {pick: own.dataset.pick})
element.addEventListener('click', e => { const own = e.target.closest('[data-pick]'); if (own) pick(own) })
element.addEventListener('keydown', e => {
  const own = e.target.closest('.ec-token')
  const step = {ArrowRight: 1, ArrowLeft: -1}[e.key]
  if (!own || !(step || e.key === 'Enter' || e.key === ' ')) return
  e.preventDefault()
  if (!step) return pick(own)
  const all = tokens(), next = all[all.indexOf(own) + step]
  if (next) { own.tabIndex = -1; next.tabIndex = 0; next.focus() }
})
